// What a front end does, without a type assertion: sign in, list, page, lose a race and retry, import, assign, download.

import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { clientFor, type Schemas } from "./client.js";
import { formOf } from "./query.js";

const [address = "", username = "", password = "", workbook = ""] = process.argv.slice(2);
const api = clientFor(address);

async function signIn(): Promise<void> {
  const { data, error } = await api.POST("/api/auth/login", { body: { username, password } });
  assert(data, error?.message);
  const token = data.data.access_token;
  api.use({
    onRequest({ request }) {
      request.headers.set("Authorization", `Bearer ${token}`);
      return request;
    },
  });
}

async function importWorkbook(): Promise<void> {
  const file = new File([await readFile(workbook)], "fleet.xlsx");
  const { data, error } = await api.POST("/api/imports", { body: { file }, bodySerializer: formOf });
  assert(data, error?.message);
  const planned = await finished(data.data.id, ["ready"]);
  const id = planned.id;
  const applied = await api.POST("/api/imports/{import_id}/apply", { params: { path: { import_id: id } }, body: {} });
  assert(applied.data, applied.error?.message);
  await finished(id, ["applied"]);
}

async function finished(id: number, states: Schemas["ImportStatus"][]): Promise<Schemas["Import"]> {
  for (;;) {
    const { data, error } = await api.GET("/api/imports/{import_id}", { params: { path: { import_id: id } } });
    assert(data, error?.message);
    if (states.includes(data.data.status)) return data.data;
    assert(!["failed", "invalid"].includes(data.data.status), data.data.problem?.message);
    await sleep(100);
  }
}

async function listServers(): Promise<Schemas["Server"][]> {
  const servers: Schemas["Server"][] = [];
  let cursor: string | null | undefined = "";
  while (cursor !== null && cursor !== undefined) {
    const page: { data?: Schemas["ServerPageEnvelope"]; error?: Schemas["Failure"] } = await api.GET("/api/servers", {
      params: { query: { cursor, page_size: 1, sort: ["name"], filter: { status__in: ["active", "maintenance"] } } },
    });
    assert(page.data, page.error?.message);
    servers.push(...page.data.data);
    cursor = page.data.pagination.next_cursor;
  }
  return servers;
}

async function renameTwice(server: Schemas["Server"]): Promise<void> {
  const path = { object_id: server.id };
  const changed = await api.PATCH("/api/servers/{object_id}", { params: { path }, body: { description: "first" } });
  assert(changed.data, changed.error?.message);
  const header = { "If-Match": `"${server.version}"` };
  const late = await api.PATCH("/api/servers/{object_id}", { params: { path, header }, body: { owner: "ann" } });
  assert.equal(late.response.status, 412);
  const { data } = await api.GET("/api/servers/{object_id}", { params: { path } });
  assert(data);
  const current = data.data;
  assert.equal(current.description, "first");
  const again = { "If-Match": `"${current.version}"` };
  const saved = await api.PATCH("/api/servers/{object_id}", { params: { path, header: again }, body: { owner: "ann" } });
  assert.equal(saved.data?.data.owner, "ann");
}

async function takeGpu(): Promise<void> {
  const me = await api.GET("/api/auth/me");
  assert(me.data, me.error?.message);
  const gpus = await api.GET("/api/gpus", { params: { query: { filter: { status: "available" }, page_size: 1 } } });
  const gpu = gpus.data?.data[0];
  assert(gpu);
  const path = { gpu_id: gpu.id };
  const taken = await api.POST("/api/gpus/{gpu_id}/assign", { params: { path }, body: { user_id: me.data.data.id } });
  assert.equal(taken.data?.data.status, "assigned");
  const refused = await api.POST("/api/gpus/{gpu_id}/assign", { params: { path }, body: { user_id: me.data.data.id } });
  assert.equal(refused.response.status, 409);
}

async function readEvents(): Promise<void> {
  const { data, error } = await api.GET("/api/events");
  assert(data, error?.message);
  assert(data.data.cursor.length > 0);
}

async function download(): Promise<void> {
  const { data, response } = await api.GET("/api/servers/export", {
    params: { query: { format: "csv", filter: { name__contains: "gpu" } } },
    parseAs: "text",
  });
  assert.equal(response.status, 200);
  assert(String(data).includes("Name"));
}

await signIn();
await importWorkbook();
const servers = await listServers();
assert(servers.length > 1);
const [first] = servers;
assert(first);
await renameTwice(first);
await takeGpu();
await readEvents();
await download();
console.log(`${servers.length} servers`);
