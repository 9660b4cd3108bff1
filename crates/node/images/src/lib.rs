//! Pull, import, unpack, garbage collection of images
