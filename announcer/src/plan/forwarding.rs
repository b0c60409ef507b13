//! What the data path shall do: VIPs, Services, weights of nodes, local endpoints.
