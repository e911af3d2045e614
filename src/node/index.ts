// The door for programs that run under Node: what needs files or processes is exported here.
export { InputError, readText, TEXT_BYTES_MAX } from './read-text.ts';
