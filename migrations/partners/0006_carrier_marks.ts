export { carrierMarksDown as down, carrierMarksUp as up } from "../shared/carrier-marks.ts";
