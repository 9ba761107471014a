//! What Kuryr does, for any front end.
