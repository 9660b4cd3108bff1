//! Volumes of pods
