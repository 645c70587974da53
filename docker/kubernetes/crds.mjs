// Checks the operators' resources on standard input against their types, strictly: node crds.mjs FOLDER, in which npm has put
// typescript, yaml and @kubernetes-models/{keda,prometheus-operator,external-secrets} (docs/testing.md). Ends with 1 and the wrong fields, or with 0.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const packages = {
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
  "external-secrets.io": "external-secrets",
};
const folder = resolve(process.argv[2]);
const { parseAllDocuments } = createRequire(join(folder, "x.js"))("yaml");
const lines = [];
for (const document of parseAllDocuments(readFileSync(0, "utf8"))) {
  const resource = document.toJSON();
  const { apiVersion, kind } = resource;
  const name = packages[apiVersion.split("/")[0]];
  if (!name) continue;
  const type = `import("@kubernetes-models/${name}/${apiVersion}/${kind}", { with: { "resolution-mode": "import" } }).I${kind}`;
  lines.push(`export const x${lines.length}: ${type} = ${JSON.stringify(resource, null, 2)};`);
  console.log(`${apiVersion} ${kind} ${resource.metadata.name}`);
}
const file = join(folder, "resources.mts");
writeFileSync(file, lines.join("\n"));
const options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "node16", "--types", "", file];
const { status } = spawnSync(join(folder, "node_modules/.bin/tsc"), options, { cwd: folder, stdio: "inherit" });
process.exit(lines.length > 0 ? status : 1);
