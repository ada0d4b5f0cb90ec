// CommonMark decides by blanks and punctuation whether `**` opens or closes. Chinese and Japanese have no blanks between words,
// so that `**“重点”**文字` would stay as it is written. Here a CJK character beside a mark counts as such a boundary.

const CJK = /[\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\ud840-\ud88f]/;
const ASTERISK = 0x2a;

export function withCjk(md) {
  md.inline.State = class extends md.inline.State {
    scanDelims(start, canSplitWord) {
      const found = super.scanDelims(start, canSplitWord);
      if (this.src.charCodeAt(start) !== ASTERISK) return found;
      const before = start > 0 ? this.src[start - 1] : " ";
      const behind = this.src[start + found.length] ?? " ";
      if (!CJK.test(before) && !CJK.test(behind)) return found;
      return { ...found, can_open: /\S/.test(behind), can_close: /\S/.test(before) };
    }
  };
  return md;
}

/** Whether a text has marks that this rule reads in another way than plain CommonMark does. */
export const hasCjkMarks = (text) => text.includes("**") && CJK.test(text);
