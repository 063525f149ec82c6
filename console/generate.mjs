// Writes schema.d.ts, the types of the API, from openapi.json.

import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const BLOB = ts.factory.createTypeReferenceNode("Blob");
const [source, target] = process.argv.slice(2);

const document = JSON.parse(await readFile(source, "utf8"));
const types = await openapiTS(document, {
  // A file is a Blob in a form and in an answer.
  transform: (schema) => (schema.format === "binary" ? BLOB : undefined),
});
await writeFile(target, astToString(types));
