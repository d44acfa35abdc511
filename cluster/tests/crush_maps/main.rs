//! Properties of CRUSH over random maps, and examples of what is refused.

mod edits;
mod encodings;
mod mappings;
mod plain_mapper;
mod random_map;
mod slices;
mod texts;
