//! Who leads each VIP, judged by heartbeats; the lease steps.
