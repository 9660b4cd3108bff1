//! Bridge, veth, vxlan, address management
