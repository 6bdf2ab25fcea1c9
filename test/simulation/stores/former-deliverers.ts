import type * as real from "../../../services/orders/store/former-deliverers.repository.ts";

export * from "../../../services/orders/store/former-deliverers.repository.ts";

/** No deliverer of the simulation loses the role. */
export const isFormerDeliverer: typeof real.isFormerDeliverer = async () => false;
