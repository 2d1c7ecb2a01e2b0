// Checks the types and makes dist/: one ES module, and the declarations of its types.
//
//   node build.js            writes dist/ringwire.js and dist/types/
//   node build.js --check    fails if dist/ringwire.js is not what the sources make
//
// typescript and esbuild are taken from here or from $NODE_PATH. dist/ringwire.js is committed, because the server hands
// it out and must build without Node.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const check = process.argv.includes('--check');
const built = path.join(here, 'dist/ringwire.js');

const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc');
const types = spawnSync(process.execPath, [tsc, '-p', here, ...(check ? ['--noEmit', '--emitDeclarationOnly', 'false'] : [])], {
  stdio: 'inherit',
});
if (types.status !== 0) process.exit(types.status ?? 1);

const { outputFiles } = await require('esbuild').build({
  entryPoints: [path.join(here, 'src/index.ts')],
  absWorkingDir: here,
  bundle: true,
  format: 'esm',
  target: 'es2022',
  charset: 'utf8',
  banner: { js: '// ringwire: the client, made from clients/js/src by `node build.js`. MIT OR Apache-2.0' },
  outfile: built,
  write: false,
});
const [{ text }] = outputFiles;

if (!check) writeFileSync(built, text);
else if (readFileSync(built, 'utf8') !== text) {
  console.error('clients/js/dist/ringwire.js is not what its sources make: run `node clients/js/build.js`');
  process.exit(1);
}
