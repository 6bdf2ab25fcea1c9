export { messagingDown as down, messagingUp as up } from "../shared/messaging.ts";
