//! What the hardware allows, measured in the same run as what a pool does.
