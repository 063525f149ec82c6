// A session through orval's fetch client: filters, `__in`, `sort`; create, change by If-Match; upload.

import { strict as assert } from "node:assert";
import { openAsBlob } from "node:fs";
import { createDatacenter, createImport, listDatacenters, login, updateDatacenter } from "./orval/fetch.js";

const [address = "", username = "", password = "", workbook = ""] = process.argv.slice(2);

// In a page of the same origin, URLs begin there by themselves, and the session is a cookie.
const send = globalThis.fetch;
let token = "";
globalThis.fetch = (input, init) => {
  const headers = new Headers(init?.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  return send(new URL(String(input), address), { ...init, headers });
};
const signedIn = await login({ username, password });
assert(signedIn.status === 200);
token = signedIn.data.data.access_token;

const created = [];
for (const name of ["ORV-1", "ORV-2", "ORW-3"]) {
  const answer = await createDatacenter({ name });
  assert(answer.status === 201);
  created.push(answer.data.data);
}
const listed = await listDatacenters({
  sort: ["-name", "id"],
  name__startswith: "ORV",
  id__in: created.map((each) => each.id),
  fields: ["id", "name"],
});
assert(listed.status === 200);
assert.deepEqual(listed.data.data.map((each) => each.name), ["ORV-2", "ORV-1"]);

const [first] = created;
assert(first);
const headers = { "If-Match": `"${first.version}"` };
const changed = await updateDatacenter(first.id, { description: "first" }, {}, headers);
assert(changed.status === 200);
assert.equal(changed.data.data.description, "first");
const late = await updateDatacenter(first.id, { description: "late" }, {}, headers);
assert(late.status === 412);
assert.equal(late.data.data.current.description, "first");

const file = new File([await openAsBlob(workbook)], "fleet.xlsx");
const uploaded = await createImport({ file });
assert(uploaded.status === 202);
console.log(`orval, fetch: ${uploaded.data.data.filename}`);
