// Runs Home Assistant's own Python in Pyodide, because it needs a newer CPython than Earmark does.
// node validate.mjs PYODIDE_DIR WHEELS_DIR SCRIPT MESSAGES_FILE > verdicts.json
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [pyodideDir, wheelsDir, script, messages] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(pyodideDir, "pyodide.mjs")));
const python = await loadPyodide({ stdout: () => {}, stderr: () => {} });
python.mountNodeFS("/wheels", wheelsDir);
python.globals.set("MESSAGES", fs.readFileSync(messages, "utf8"));
try {
  process.stdout.write(python.runPython(fs.readFileSync(script, "utf8")));
} catch (error) {
  process.stderr.write(`${error.message}\n`); // not Node's report, which quotes a megabyte
  process.exitCode = 1;
}
