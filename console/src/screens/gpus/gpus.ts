// What the board asks of the API: GPUs by server, offers, and to take several as one act.

import { answer, api, ApiError, dataOf, type Outcome, type Schemas } from "../../api/client.js";
import { t } from "./texts.js";

export type Gpu = Schemas["Gpu"];
export type Offer = Schemas["ServerAvailability"];
export type Shelf = { server: Schemas["Reference"]; datacenter: Schemas["Reference"] | null; gpus: Gpu[] };
export type Wish = { user_id: number; purpose: string | null; expires_at: string | null };

type Slot = { id: number; slot: number | null; server: Schemas["Reference"] };

export const PAGE_SIZE = 100;
const NOT_APPLIED = "not_applied";

/** Add GPUs to the shelves of their servers, whose datacenters are looked up. */
export async function shelve(shelves: Shelf[], gpus: Gpu[]): Promise<Shelf[]> {
  const byServer = new Map(shelves.map((shelf) => [shelf.server.id, { ...shelf, gpus: [...shelf.gpus] }]));
  const unknown = [...new Set(gpus.map((gpu) => gpu.server_id))].filter((id) => !byServer.has(id));
  const datacenters = await datacentersOf(unknown);
  for (const gpu of gpus) {
    const shelf = byServer.get(gpu.server_id) ?? { server: gpu.server, datacenter: datacenters.get(gpu.server_id) ?? null, gpus: [] };
    shelf.gpus.push(gpu);
    byServer.set(gpu.server_id, shelf);
  }
  return [...byServer.values()];
}

/** The same shelves with other values of their GPUs. */
export function replaced(shelves: readonly Shelf[], gpus: readonly Gpu[]): Shelf[] {
  const byId = new Map(gpus.map((gpu) => [gpu.id, gpu]));
  return shelves.map((shelf) => ({ ...shelf, gpus: shelf.gpus.map((gpu) => byId.get(gpu.id) ?? gpu) }));
}

async function datacentersOf(serverIds: number[]): Promise<Map<number, Schemas["Reference"] | null>> {
  if (!serverIds.length) return new Map();
  const query = { filter: { id__in: serverIds }, page_size: PAGE_SIZE, total: "none" as const };
  const { data } = await answer(api.GET("/api/servers", { params: { query } }));
  return new Map(data.map((server) => [server.id, server.datacenter]));
}

type Joint = Schemas["GpuBulkAnswer"];

/** Assign all of them or none. */
export async function takeAll(gpus: readonly Slot[], wish: Wish): Promise<void> {
  await jointly(gpus, (gpu_ids) => api.POST("/api/gpus/assign", { body: { gpu_ids, ...wish } }));
}

/** Let all of their assignments end at another time, or none. */
export async function extendAll(gpus: readonly Slot[], expires_at: string): Promise<void> {
  await jointly(gpus, (gpu_ids) => api.POST("/api/gpus/extend", { body: { gpu_ids, expires_at } }));
}

/** Release all of them or none. */
export async function releaseAll(gpus: readonly Slot[]): Promise<void> {
  await jointly(gpus, (gpu_ids) => api.POST("/api/gpus/release", { body: { gpu_ids } }));
}

/** One request for all; of several a refusal says which ones cannot be had, and why. */
async function jointly(gpus: readonly Slot[], act: (ids: number[]) => Promise<Outcome<{ data: Joint }>>): Promise<void> {
  try {
    await dataOf(act(gpus.map(({ id }) => id)));
  } catch (error) {
    const results = error instanceof ApiError ? (error.details.results ?? []) : [];
    const refused = results.filter((result) => result.error && result.error.data.reason !== NOT_APPLIED);
    if (!refused.length) throw error;
    const slots = new Map(gpus.map((gpu) => [gpu.id, gpu]));
    const said = refused.map(({ id, error }) => {
      const gpu = slots.get(id ?? 0);
      return t("refused", { server: gpu?.server.name ?? "", slot: gpu?.slot ?? "?", message: error?.message ?? "" });
    });
    throw new Error(said.join(" "));
  }
}

/** The end of a day, as a date input has it, in the person's time zone. */
export function endOfDay(date: string): string {
  return new Date(`${date}T23:59:59`).toISOString();
}
