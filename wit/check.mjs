// Parses plugin.wit with jco and builds a component of each world from it.
//
//   node --input-type=module - WIT [WORLD=GUEST.wasm ...] < wit/check.mjs
//
// run in a folder that has @bytecodealliance/jco in its node_modules. With a
// guest named, its imports and exports are held against that world too, which
// is how the Go SDK's names and types are checked by other people's tools.
// Exits 1 at the first thing that does not hold.
import { readFileSync } from 'node:fs';
import {
  componentEmbed, componentNew, componentWit, preview1AdapterReactorPath,
} from '@bytecodealliance/jco';

const worlds = ['signal-mapper', 'args-translator', 'event-forwarder'];
const [path, ...guests] = process.argv.slice(2);

try {
  if (!path) throw new Error('no WIT file named');
  // The text, not the path: jco 1.35 gives its own parser no file system.
  const witSource = readFileSync(path, 'utf8');
  for (const world of worlds) {
    const core = await componentEmbed({ dummy: true, witSource, world });
    const wit = await componentWit(await componentNew(core, []));
    if (!/export carl:plugin\//.test(wit)) throw new Error(`${world}: no export`);
    console.log(`ok   ${world}`);
  }
  const adapter = ['wasi_snapshot_preview1', readFileSync(preview1AdapterReactorPath())];
  for (const guest of guests) {
    const [world, file] = guest.split('=');
    const core = await componentEmbed({ binary: readFileSync(file), witSource, world });
    await componentNew(core, [adapter]);
    console.log(`ok   ${world} ${file}`);
  }
} catch (err) {
  console.error(`wit: ${err.message ?? err}`);
  process.exit(1);
}
