// The forms of KFD's lines, by the event's number. As printf writes them: what is decimal has no x,
// what is hexadecimal no 0x.

export const KFD_FORMS: Readonly<Record<string, RegExp>> = {
  1: /^1 [0-9a-f]+:\S+$/,
  5: /^5 \d+ -\d+ @[0-9a-f]+\([0-9a-f]+\) [0-9a-f]+->[0-9a-f]+ [0-9a-f]+:[0-9a-f]+ [0-3]$/,
  6: /^6 \d+ -\d+ @[0-9a-f]+\([0-9a-f]+\) [0-9a-f]+->[0-9a-f]+ [0-3]$/,
  7: /^7 \d+ -\d+ @[0-9a-f]+\([0-9a-f]+\) [RW]$/,
  8: /^8 \d+ -\d+ @[0-9a-f]+\([0-9a-f]+\) [MU]$/,
  9: /^9 \d+ -\d+ [0-9a-f]+ [0-5]$/,
  a: /^a \d+ -\d+ [0-9a-f]+$/,
  b: /^b \d+ -\d+ @[0-9a-f]+\([0-9a-f]+\) [0-9a-f]+ [0-2]$/,
};

/** KFD_SMI_EVENT_MSG_SIZE: no line of KFD is longer. */
export const KFD_LINE_MAX = 96;
