export { failHttpSpan, fromHttpHeaders, nameHttpSpan, withHttpServerSpan } from "./http.ts";
export {
  inTraceOf,
  linkTo,
  outsideOfTraces,
  recordFailure,
  traceparentOfMessage,
  type WorkInTrace,
} from "./spans.ts";
export {
  currentTraceparent,
  isTraced,
  linksTo,
  type TraceHeaders,
  traceHeaders,
  traceIdOf,
} from "./trace-context.ts";
