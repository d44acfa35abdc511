//! Other people's protocols on top of `client`: S3 and NBD. Empty so far; the crate holds the place of both in the picture of the layers.
