// The door for people who write drivers: the suite that every driver passes, and what it is made of.
export { factoryOf } from './factory.ts';
export { DriverFailure } from './failure.ts';
export { leakCheck } from './leak-check.ts';
export { Probe, type ProbeOptions } from './probe.ts';
export type { Answer, DriverSpec, DriverUse, Skip } from './spec.ts';
export { type CaseResult, type DriverCase, driverSuite, runCases } from './suite.ts';
