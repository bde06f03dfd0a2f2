// verify.mjs checks a ledger that `carl ledger export DIR` wrote, from its written format alone:
// none of carl's code, no package, no network. Usage: node verify.mjs DIR [--json]
// Exit status: 0 verified, 3 not (stderr names the first bad block), 2 wrong usage or unreadable.
import { createHash, createPublicKey, verify } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

const OPEN = 'constitutional_ledger.jsonl', HEAD = 'constitutional_ledger.head', RECEIPTS = 'ledger_receipts.jsonl';
const CLOSED = /^constitutional_ledger\.(0|[1-9]\d*)-(0|[1-9]\d*)\.jsonl$/;
const CHECKPOINT = /^carl\.camp\/ledger\/([0-9a-f]{32})\n([1-9]\d*)\n(\S+)\n$/;
const RECEIPT = /^carl-receipt\/v1\nledger_id (\w+)\nseq (\d+)\nblock_hash (\w+)\ntime \d{4}-\d\d-\d\dT[\d:.Z+-]+\n$/;
const BLOCK_PREFIX = 'carl.ledger.block.v1\n', MAX_LINE = 64 << 10; // bytes of a block, without its line end

const demand = (ok, why) => { if (!ok) throw Object.assign(new Error(why), { refused: true }); };
const sha256 = (...parts) => parts.reduce((h, part) => h.update(part), createHash('sha256')).digest();
const signedBy = (key, text, sig) => verify(null, Buffer.from(text), key.public, sig); // Ed25519, RFC 8032 §5.1.7

// Decoders forgive. What does not encode to the same again is refused, or a changed byte could go unseen.
const fromBase64 = (s) => { const b = Buffer.from(s, 'base64'); return b.toString('base64') === s ? b : null; };
const fromJSON = (s) => { try { return JSON.parse(s); } catch { return null; } };

// The members of a block: those of all, those of its kind, no others. Times sort as text; Date would take 30 February.
const text = (v) => typeof v === 'string' && v.isWellFormed(); // RFC 8785 §3.2.2.2: no lone surrogates
const count = (v) => Number.isSafeInteger(v) && v >= 0; // RFC 8785 §3.2.2.3: up to 2^53−1 all readers agree
const hex = (digits) => (v) => text(v) && v.length === digits && /^[0-9a-f]+$/.test(v), hash = hex(64);
const time = (v) => text(v) && /^\d{4}.{15}\.\d{6}Z$/.test(v) && new Date(v).toJSON()?.startsWith(v.slice(0, 19));
const optional = (fits) => (v) => v === undefined || fits(v);
const object = (members) => (v) => typeof v === 'object' && v !== null
  && Object.keys(v).every((name) => Object.hasOwn(members, name))
  && Object.entries(members).every(([name, fits]) => fits(v[name]));
const COMMON = { v: (v) => v === 1, kind: (v) => KINDS.has(v), ledger_id: hex(32), seq: count, seg: count,
  ts: time, key_id: text, prev_hash: hash, sig: hex(128) };
const KINDS = new Map(Object.entries({
  segment_open: { size: count, tree: (v) => Array.isArray(v) && v.every(hash), pruned_before: count,
    prev_segment: optional(object({ first: count, last: count, sha256: hash })),
    constitution: optional(hash), state: optional(text) },
  constitution: { digest: hash, name: text, version: text }, key_rotation: { new_key: text, new_sig: hex(128) },
  decision: { action: object({ kind: text, name: text, digest: hash, payload: optional(text) }),
    constitution: hash, rule: text, state: object({ from: text, to: text }), verdict: text },
  pending_dropped: { from: count, to: count, hash }, recovery: { reason: text }, note: { code: text, detail: text },
}));

// canonical is RFC 8785 for the values that blocks have: members in the order of their UTF-16 code units
// (§3.2.3), which is that of sort(), texts and integers as JSON.stringify writes them (§3.2.2).
function canonical(v) {
  if (Array.isArray(v)) return `[${v.map(canonical)}]`;
  if (typeof v !== 'object') return JSON.stringify(v);
  return `{${Object.keys(v).sort().map((name) => `"${name}":${canonical(v[name])}`)}}`;
}

// parseBlock takes only the bytes that writing the value again gives, which also rules out a name that is there
// twice, and of which readers see different ones (RFC 8259 §4).
function parseBlock(line) {
  const block = fromJSON(line), fits = object({ ...COMMON, ...KINDS.get(block?.kind) });
  return line.length <= MAX_LINE && fits(block) && Buffer.from(canonical(block)).equals(line) ? block : null;
}

// parseKey reads a C2SP verifier key, name+hash+base64(0x01 ‖ public key).
function parseKey(line, file) {
  const [, name, id, data] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/.exec(line) ?? [], raw = data && fromBase64(data);
  const good = raw?.length === 33 && raw[0] === 1 && sha256(name, '\n', raw).toString('hex', 0, 4) === id;
  demand(good, `${file}: a line of it is not an Ed25519 key`);
  const jwk = { crv: 'Ed25519', kty: 'OKP', x: raw.toString('base64url', 1) }; // RFC 8037 §2
  const thumbprint = sha256(JSON.stringify(jwk)).toString('base64url'); // RFC 7638 §3: the members in this order
  return { name, id, x: jwk.x, thumbprint, public: createPublicKey({ key: jwk, format: 'jwk' }) };
}

// openNote returns the text of a C2SP signed note, and which of keys signed it. Signatures of others are passed
// over, as C2SP has it; without one by a known key, or with a wrong one in the name of such a key, the text is ''.
function openNote(note, keys) {
  const [, signed, lines] = /^([^]*\n)\n((?:— \S+ \S+\n)+)$/.exec(note) ?? [, '', ''];
  const known = [...lines.matchAll(/— (\S+) (\S+)\n/g)].flatMap(([, name, data]) => {
    const sig = fromBase64(data), id = sig?.toString('hex', 0, 4);
    return keys.filter((k) => k.name === name && k.id === id).map((k) => signedBy(k, signed, sig.subarray(4)) && k);
  });
  return { by: known, text: known.length > 0 && !known.includes(false) ? signed : '' };
}

// A tree (RFC 6962 §2.1) is kept as the roots of its complete subtrees, the largest first.
const nodeHash = (left, right) => sha256('\x01', left, right);
function grow({ size, hashes }, leaf) {
  // Each 1 at the end of size is a subtree to merge with. Bit operators would cut size to 32 bits.
  for (let n = size; n % 2 === 1; n = (n - 1) / 2) leaf = nodeHash(hashes.pop(), leaf);
  return { size: size + 1, hashes: [...hashes, leaf] };
}

// Ledger goes over all blocks in order, and holds what the next one has to follow on.
class Ledger {
  tree = { size: 0, hashes: [] }; first = null; leaves = []; seg = 0; prev = '0'.repeat(64); ts = ''; adopted = true;
  constructor(keys, head) { Object.assign(this, { keys, head }); }
  get root() { return this.tree.hashes.reduceRight((right, left) => nodeHash(left, right)).toString('base64'); }
  check(ok, why) { demand(ok, `block ${this.tree.size}: ${why}`); }
  file(name, data) {
    let at = 0;
    this.opener = null;
    for (let end; (end = data.indexOf('\n', at)) >= 0; at = end + 1) this.block(data.subarray(at, end));
    this.check(this.opener, `missing, ${name} has no block`);
    const first = this.opener.seq, last = this.tree.size - 1, torn = data.length - at;
    const whole = name === `constitutional_ledger.${first}-${last}.jsonl` && torn === 0;
    this.check(whole || name === OPEN, `missing or torn in ${name}`); // of the open file, the checkpoint tells
    Object.assign(this, { torn, seg: this.seg + 1, previous: { first, last, sha256: sha256(data).toString('hex') } });
  }
  block(line) {
    const block = parseBlock(line);
    this.check(block, 'not a block, or not in canonical form');
    if (this.first === null) this.begin(block);
    const { sig, ...unsigned } = block, body = canonical(unsigned), raw = Buffer.from(sig, 'hex'), { key } = this;
    this.check(block.seq === this.tree.size, `missing, block ${block.seq} stands there`);
    this.check(block.ledger_id === this.head.id, 'of another ledger');
    this.check(block.key_id === key?.thumbprint, 'not signed with the key in use');
    this.check(signedBy(key, BLOCK_PREFIX + body, raw), 'its signature is wrong');
    this.check(block.prev_hash === this.prev, 'does not follow on the block before it');
    this.check(block.ts >= this.ts, 'older than the block before it');
    this.check(block.seg === this.seg && (block.kind === 'segment_open') === !this.opener, 'in the wrong file');
    this.apply(block, unsigned);
    const leaf = sha256('\0', body, raw); // RFC 6962 §2.1; the chain has the same hash
    Object.assign(this, { tree: grow(this.tree, leaf), prev: leaf.toString('hex'), ts: block.ts });
    this.leaves.push(this.prev);
    if (this.tree.size === this.head.size) this.atHead = { root: this.root, keys: [key, this.key] };
  }
  // begin takes the first kept block on trust: its tree is the one commitment to what was pruned. Whether a pruned
  // block adopted a constitution after the last decision is not told, so the first decision may begin in any state.
  begin({ kind, size, tree, key_id, seg, prev_hash: prev, prev_segment: previous, constitution, state }) {
    Object.assign(this, { first: 0, key: this.keys.find((key) => key.thumbprint === key_id) });
    if (kind !== 'segment_open' || size === 0) return;
    this.tree = { size, hashes: tree.map((h) => Buffer.from(h, 'hex')) };
    this.check(tree.length === size.toString(2).replaceAll('0', '').length, 'opens on a tree that is none');
    Object.assign(this, { first: size, seg, prev, previous, constitution, state, pruned: this.root });
    this.atHead = { root: this.root, keys: this.keys.filter((k, i, all) => [k, all[i + 1]].includes(this.key)) };
  }
  apply(block, unsigned) {
    const { tree, previous, constitution, state, adopted } = this;
    if (block.kind === 'constitution') Object.assign(this, { constitution: block.digest, adopted: true });
    if (block.kind === 'segment_open') {
      const same = (a, b) => canonical(a) === canonical(b), hashes = tree.hashes.map((h) => h.toString('hex'));
      this.check(block.size === tree.size && same(block.tree, hashes), 'opens on other blocks than those before it');
      this.check(same(block.prev_segment ?? {}, previous ?? {}), 'opens on another file than the one before it');
      this.check(block.constitution === constitution, 'repeats another constitution than that in force');
      this.check(block.state === state || (adopted && !block.state), 'repeats another state than the last one');
      this.check(block.pruned_before <= tree.size, 'pruned blocks that come behind it');
      this.opener = block;
    } else if (block.kind === 'decision') {
      this.check(block.constitution === constitution, 'decided by a constitution that is not in force');
      this.check(adopted || block.state.from === state, 'does not begin in the state that the last decision left');
      Object.assign(this, { state: block.state.to, adopted: false });
    } else if (block.kind === 'key_rotation') {
      const { new_sig, ...both } = unsigned, signed = BLOCK_PREFIX + canonical(both);
      this.key = this.keys[this.keys.indexOf(this.key) + 1];
      this.check(this.key?.x === block.new_key, 'rotates to another key than the next one of keys.txt');
      this.check(signedBy(this.key, signed, Buffer.from(new_sig, 'hex')), 'the new key did not sign its rotation');
    }
  }
  receipt(line, keys) {
    const { seq, receipt } = fromJSON(line) ?? {};
    const [, id, number, block] = RECEIPT.exec(text(receipt) ? openNote(receipt, keys).text : '') ?? [];
    demand(number && number === String(seq), `${RECEIPTS}: a line of it is not a receipt by a key of receipt_keys.txt`);
    demand(id === this.head.id, `block ${seq}: its receipt is another ledger's`);
    demand(seq < this.tree.size, `block ${seq}: missing, and there is a receipt for it: the ledger was rolled back`);
    demand(seq < this.first || block === this.leaves[seq - this.first], `block ${seq}: its receipt is another block's`);
  }
}

function verifyLedger(dir) {
  const names = readdirSync(dir), read = (name) => readFileSync(`${dir}/${name}`);
  const linesOf = (name) => {
    const lines = names.includes(name) ? read(name).toString().split('\n') : [];
    demand(lines.pop() === '', `${name}: missing, or cut off`);
    return lines;
  };
  const keysOf = (name) => linesOf(name).map((line) => parseKey(line, name));
  const keys = keysOf('keys.txt'), note = openNote(`${linesOf(HEAD).join('\n')}\n`, keys);
  const [, id, size, root] = CHECKPOINT.exec(note.text) ?? [];
  demand(id && keys.every(({ name }) => name === `carl.camp/ledger/${id}`), `${HEAD}: not by a key of keys.txt`);
  const head = { id, size: Number(size) }, ledger = new Ledger(keys, head);
  const closed = names.filter((name) => CLOSED.test(name)).sort((a, b) => CLOSED.exec(a)[1] - CLOSED.exec(b)[1]);
  for (const name of closed.concat(names.filter((name) => name === OPEN))) ledger.file(name, read(name));
  ledger.check(ledger.tree.size >= head.size, `missing, the checkpoint has ${size} blocks`);
  demand(ledger.atHead?.root === root, `block ${size - 1}: the root up to it is not the checkpoint's`);
  demand(note.by.some((k) => ledger.atHead.keys.includes(k)), `${HEAD}: not by the key in use at block ${size - 1}`);
  demand(ledger.key === keys.at(-1), 'keys.txt: its last key, which readers compare, is not the one in use');
  // Old files go only when a new one is opened, which says so: what the last one says was kept has to be there.
  demand(ledger.first <= ledger.opener.pruned_before, `block ${ledger.opener.pruned_before}: missing, and not pruned`);
  const givers = names.includes(RECEIPTS) && keysOf('receipt_keys.txt');
  if (givers) linesOf(RECEIPTS).forEach((line) => ledger.receipt(line, givers));
  return ledger;
}

const [dir, ...others] = process.argv.slice(2).filter((arg) => arg !== '--json');
try {
  if (!dir || dir.startsWith('-') || others.length > 0) throw new Error('usage: node verify.mjs DIR [--json]');
  const { head, first, tree: { size }, root, key: { thumbprint: key_id }, pruned, torn } = verifyLedger(dir);
  const result = { ok: true, ledger_id: head.id, first_seq: first, size, root, head: head.size, key_id };
  const prose = `verified: blocks ${first} to ${size - 1} of ledger ${head.id}, root ${root}\nkey id in use: ${key_id}`
    + (first > 0 ? `\n0 to ${first - 1} pruned, committed by root ${pruned}` : '');
  console.log(process.argv.includes('--json') ? JSON.stringify(result) : prose);
  if (torn > 0) console.error(`torn: ${torn} bytes behind block ${size - 1}, beyond the checkpoint`);
} catch (e) {
  console.error(e.message);
  process.exitCode = e.refused ? 3 : 2;
}
