//! What a tier was told and asked, as data: one event a line, to record where a policy went wrong and replay it later.
