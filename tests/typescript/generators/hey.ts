// A session through hey-api's client: filters, `__in`, `sort`, an attribute; create, change by If-Match; upload.

import { strict as assert } from "node:assert";
import { openAsBlob } from "node:fs";
import { client } from "./hey/client.gen.js";
import { createDatacenter, createImport, listDatacenters, listServers, login, updateDatacenter } from "./hey/index.js";

const [baseUrl = "", username = "", password = "", workbook = ""] = process.argv.slice(2);

client.setConfig({ baseUrl });
const signedIn = await login({ body: { username, password } });
assert(signedIn.data, signedIn.error?.message);
const token = signedIn.data.data.access_token;
client.setConfig({ auth: ({ scheme }) => (scheme === "bearer" ? token : undefined) });

const created = [];
for (const name of ["HEY-1", "HEY-2", "HEI-3"]) {
  const { data, error } = await createDatacenter({ body: { name } });
  assert(data, error?.message);
  created.push(data.data);
}
const listed = await listDatacenters({
  query: { sort: ["-name", "id"], name__startswith: "HEY", id__in: created.map((each) => each.id), fields: ["id", "name"] },
});
assert(listed.data, listed.error?.message);
assert.deepEqual(listed.data.data.map((each) => each.name), ["HEY-2", "HEY-1"]);

const related = await listServers({
  query: { status__in: ["active", "retired"], related: { "datacenter.name": "HEY-1" } },
});
assert.equal(related.data?.pagination.total, 0);

const [first] = created;
assert(first);
const path = { object_id: first.id };
const headers = { "If-Match": `"${first.version}"` };
const changed = await updateDatacenter({ path, headers, body: { description: "first" } });
assert.equal(changed.data?.data.description, "first");
const late = await updateDatacenter({ path, headers, body: { description: "late" } });
assert.equal(late.response?.status, 412);

const file = new File([await openAsBlob(workbook)], "fleet.xlsx");
const uploaded = await createImport({ body: { file } });
assert(uploaded.data, uploaded.error?.message);
console.log(`hey-api: ${uploaded.data.data.filename}`);
