//! What announcer shows: metrics, health, the control socket.
