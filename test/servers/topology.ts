/** The processes of a test cluster: the name of each and its SERVICES. */
export const processes = [
  ["gateway-1", "api"],
  ["gateway-2", "api"],
  ["orders-1", "orders"],
  ["orders-2", "orders"],
  ["partners", "partners"],
  ["notifications", "notifications"],
  ["identity", "identity"],
  ["media", "media"],
] as const;

export type ProcessName = (typeof processes)[number][0];
