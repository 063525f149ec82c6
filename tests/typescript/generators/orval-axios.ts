// A session through orval's axios client: filters, `__in`, `sort`, an attribute; create, change by If-Match; upload.

import { strict as assert } from "node:assert";
import { openAsBlob } from "node:fs";
import { isAxiosError } from "axios";
import { server } from "./axios-request.js";
import {
  createDatacenter,
  createImport,
  listDatacenters,
  listServers,
  login,
  updateDatacenter,
} from "./orval/axios.js";

const [baseURL = "", username = "", password = "", workbook = ""] = process.argv.slice(2);

server.defaults.baseURL = baseURL;
const signedIn = await login({ username, password });
server.defaults.headers.common.Authorization = `Bearer ${signedIn.data.access_token}`;

const created = [];
for (const name of ["AXI-1", "AXI-2", "AXO-3"]) created.push((await createDatacenter({ name })).data);
const listed = await listDatacenters({
  sort: ["-name", "id"],
  fields: ["id", "name"],
  filter: { name__startswith: "AXI", id__in: created.map((each) => each.id) },
});
assert.deepEqual(listed.data.map((each) => each.name), ["AXI-2", "AXI-1"]);

const related = await listServers({
  filter: { status__in: ["active", "retired"] },
  related: { "datacenter.name": "AXI-1" },
});
assert.equal(related.pagination.total, 0);

const [first] = created;
assert(first);
const headers = { "If-Match": `"${first.version}"` };
const changed = await updateDatacenter(first.id, { description: "first" }, {}, headers);
assert.equal(changed.data.description, "first");
await assert.rejects(
  updateDatacenter(first.id, { description: "late" }, {}, headers),
  (error) => isAxiosError(error) && error.response?.status === 412,
);

const file = new File([await openAsBlob(workbook)], "fleet.xlsx");
const uploaded = await createImport({ file });
console.log(`orval, axios: ${uploaded.data.filename}`);
