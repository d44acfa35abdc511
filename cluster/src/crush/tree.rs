//! The hierarchy line by line, as `osd tree` and `osd crush tree` show it.

use super::map::CrushMap;

/// A root, or an item where it hangs.
#[derive(Clone, Debug, PartialEq)]
pub struct TreeLine<'a> {
    pub id: i32,
    /// The bucket that it hangs in here.
    pub parent: Option<i32>,
    pub depth: u32,
    /// 16.16: of a root the sum of its items, of an item its weight here.
    pub weight: u32,
    /// A device's, or a shadow's.
    pub class: Option<&'a str>,
    /// A shadow's is `NAME~CLASS`; a device's `osd.N`.
    pub name: &'a str,
    pub type_id: u16,
    pub type_name: &'a str,
    /// The last one first, as Ceph lists them.
    pub children: Vec<i32>,
}

/// Lines from the top. See [`CrushMap::tree`].
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    map: &'a CrushMap,
    /// The next one last.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    id: i32,
    parent: Option<i32>,
    depth: u32,
    weight: u32,
}

impl CrushMap {
    /// Every root, lowest id first, and what is below it: buckets by name, then devices by class and number.
    pub fn tree(&self, shows_shadows: bool) -> Tree<'_> {
        let root = |id: i32| {
            let weight = self.bucket(id).map_or(0, |bucket| bucket.weight());
            Waiting { id, parent: None, depth: 0, weight }
        };
        Tree { map: self, waiting: self.roots(shows_shadows).into_iter().rev().map(root).collect() }
    }

    /// A bucket and what is below it.
    pub fn tree_of(&self, id: i32) -> Tree<'_> {
        let weight = self.bucket(id).map_or(0, |bucket| bucket.weight());
        let waiting = self.bucket(id).map(|_| Waiting { id, parent: None, depth: 0, weight });
        Tree { map: self, waiting: waiting.into_iter().collect() }
    }
}

impl<'a> Iterator for Tree<'a> {
    type Item = TreeLine<'a>;

    fn next(&mut self) -> Option<TreeLine<'a>> {
        let Waiting { id, parent, depth, weight } = self.waiting.pop()?;
        let map = self.map;
        let bucket = map.bucket(id);
        let shadow_class = bucket.and_then(|bucket| bucket.shadow_of).and_then(|(_, class)| map.class_name(class));
        let type_id = bucket.map_or(0, |bucket| bucket.type_id);
        let mut items = bucket.map(|bucket| bucket.items.clone()).unwrap_or_default();
        // Devices in a class come after those without, and buckets are compared by a text of the same kind.
        items.sort_by_cached_key(|item| match map.bucket(item.id) {
            Some(child) => format!("_{}", child.name),
            None => format!("{}_osd.{:08}", map.device_class(item.id).unwrap_or_default(), item.id),
        });
        let children: Vec<i32> = items.iter().rev().map(|item| item.id).collect();
        let below =
            |item: &super::Item| Waiting { id: item.id, parent: Some(id), depth: depth + 1, weight: item.weight };
        self.waiting.extend(items.iter().rev().map(below));
        Some(TreeLine {
            id,
            parent,
            depth,
            weight,
            class: shadow_class.or_else(|| map.device_class(id)),
            name: map.item_name(id).unwrap_or_default(),
            type_id,
            type_name: map.type_name(type_id).unwrap_or("osd"),
            children,
        })
    }
}
