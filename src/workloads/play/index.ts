/** Workloads, played on machines. */
export type { PlayDriver } from './devices.ts';
export { Player, type PlayerOptions } from './player.ts';
export { type AgentReport, type DeviceReport, type PlayReport, playReport } from './report.ts';
export { type AssignRule, parseRule, parseSize, RULE_FORMS } from './rules.ts';
