//! The arithmetic of rasp: pure functions over slices, one menu per instruction set, chosen once.
