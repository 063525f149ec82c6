// What the board asks of the API: GPUs by server, offers, and to take several as one act.

import { answer, api, dataOf, type Schemas } from "../../api/client.js";

export type Gpu = Schemas["Gpu"];
export type Offer = Schemas["ServerAvailability"];
export type Shelf = { server: Schemas["Reference"]; datacenter: Schemas["Reference"] | null; gpus: Gpu[] };
export type Wish = { user_id: number; purpose: string | null; expires_at: string | null };

export const PAGE_SIZE = 100;

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

/** Assign all of them or none: those that were assigned before one is refused are released again. */
export async function takeAll(gpus: readonly { id: number }[], wish: Wish): Promise<Gpu[]> {
  const taken: Gpu[] = [];
  try {
    for (const { id } of gpus)
      taken.push(await dataOf(api.POST("/api/gpus/{gpu_id}/assign", { params: { path: { gpu_id: id } }, body: wish })));
  } catch (error) {
    for (const { id } of taken) await release(id);
    throw error;
  }
  return taken;
}

export async function release(id: number): Promise<Gpu> {
  return dataOf(api.POST("/api/gpus/{gpu_id}/release", { params: { path: { gpu_id: id } } }));
}

/** The end of a day, as a date input has it, in the person's time zone. */
export function endOfDay(date: string): string {
  return new Date(`${date}T23:59:59`).toISOString();
}
