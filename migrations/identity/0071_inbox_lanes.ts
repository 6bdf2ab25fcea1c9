export { inboxLanesDown as down, inboxLanesUp as up } from "../shared/inbox-lanes.ts";
