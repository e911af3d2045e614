/** A driver did not do what the suite expects; the message names the fault. */
export class DriverFailure extends Error {
  override readonly name = 'DriverFailure';
}
