/** Colours on a terminal only. Unasked, picocolors would also colour the pipes of CI machines. */
import picocolors from 'picocolors';

type Colors = ReturnType<typeof picocolors.createColors>;

const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
const onTerminal = process.stdout.isTTY === true && TERM !== 'dumb';

const colors: Colors = picocolors.createColors(!NO_COLOR && (!!FORCE_COLOR || onTerminal));
export default colors;
