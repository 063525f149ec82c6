// What is open in the tree, read as it is opened, and kept as it changes.

import type { Changes } from "../../api/changes.js";
import type { AnyObject } from "../../api/objects.js";
import { belowServer, childrenOf, countServers, filterOf, node, PAGE_SIZE, withChildren, type Key, type Node } from "./nodes.js";

/** A line of the tree: a node, or what stands below its last child: `more`, `loading`, `nothing` or `failed`. */
export type Row = { key: Key; node: Node; line: "node" | "more" | "loading" | "nothing" | "failed"; level: number; position: number; size: number };

const TYPES = ["datacenters", "environments", "servers", "containers", "services", "gpus"];

export class Tree {
  readonly root = node({ key: "", type: "", id: 0, name: "", parent: undefined });
  /** Rises with every change of a node, so that the rows are made again. */
  #revision = $state(0);
  /** Servers that the address names and that are not read yet: pages are read until they are found. */
  #wanted: Set<Key>;

  constructor(wanted: Iterable<Key>) {
    this.#wanted = new Set([...wanted].filter((key) => key.startsWith("s")));
  }

  rows(open: ReadonlySet<Key>): Row[] {
    void this.#revision;
    const rows: Row[] = [];
    this.#add(rows, this.root, 1, open);
    return rows;
  }

  #add(rows: Row[], parent: Node, level: number, open: ReadonlySet<Key>): void {
    const children = parent.children ?? [];
    const size = parent.type === "environments" ? Math.max(parent.count ?? 0, children.length) : children.length;
    for (const [index, one] of children.entries()) {
      rows.push({ key: one.key, node: one, line: "node", level, position: index + 1, size });
      if (one.mayOpen && open.has(one.key)) this.#add(rows, one, level + 1, open);
    }
    const line = parent.failure ? "failed" : parent.isLoading || !parent.children ? "loading" : hasMore(parent) ? "more" : children.length ? undefined : "nothing";
    if (line) rows.push({ key: `${parent.key}:${line}${children.length}`, node: parent, line, level, position: children.length + 1, size: Math.max(size, children.length + 1) });
  }

  /** Read what is open and not read yet. */
  complete(rows: readonly Row[]): void {
    for (const { key } of rows) this.#wanted.delete(key);
    for (const { node, line } of rows) {
      if (line === "loading" && !node.isLoading) void this.load(node);
      else if (line === "more" && node.next && this.#wanted.size) void this.load(node);
    }
  }

  /** Read the next children of a node; all that were read again where there is no next page. */
  async load(parent: Node): Promise<void> {
    if (parent.isLoading) return;
    [parent.isLoading, parent.failure, parent.hasNew] = [true, undefined, false];
    this.#revision += 1;
    try {
      const before = parent.next ? (parent.children ?? []) : [];
      const { nodes, next } = await childrenOf(parent, parent.next ?? "");
      // An object that has moved into the next page meanwhile is not there twice.
      const known = new Set(before.map(({ key }) => key));
      [parent.children, parent.next] = [[...before, ...nodes.filter(({ key }) => !known.has(key))], next];
      if (parent.type === "environments" && !next) parent.count = parent.children.length;
    } catch (error) {
      parent.failure = error;
    }
    parent.isLoading = false;
    this.#revision += 1;
  }

  /** Renew what is shown where it is; new servers wait below the others. */
  async take(changes: Changes, open: ReadonlySet<Key>): Promise<void> {
    if (!changes.touch(TYPES)) return;
    try {
      await this.#count(open);
      const datacenters = new Set(this.root.children?.map(({ id }) => id));
      if ([...changes.createdOf("datacenters")].some((id) => !datacenters.has(id))) this.root.hasNew = true;
      const changed = changes.idsOf("servers");
      const servers = this.#nodes().filter((one) => one.type === "servers" && (open.has(one.key) || changes.isGap || changed.has(one.id)));
      for (let begin = 0; begin < servers.length; begin += PAGE_SIZE) {
        const chunk = servers.slice(begin, begin + PAGE_SIZE);
        const found = new Map((await withChildren(chunk.map(({ id }) => id))).map((object) => [object.id, object]));
        for (const one of chunk) renew(one, found.get(one.id));
      }
    } catch {
      // The tree stays as it is; what the person opens next says what is wrong.
    }
    this.#revision += 1;
  }

  async #count(open: ReadonlySet<Key>): Promise<void> {
    await recount(this.root, "datacenter", {});
    for (const one of this.root.children ?? []) if (one.children && open.has(one.key)) await recount(one, "environment", filterOf(one));
  }

  #nodes(parent = this.root): Node[] {
    return (parent.children ?? []).flatMap((child) => [child, ...this.#nodes(child)]);
  }
}

/** Whether there are children that are not shown: of the next page, or new ones. */
function hasMore({ next, type, count, children, hasNew }: Node): boolean {
  return Boolean(next) || hasNew || (type === "environments" && (count ?? 0) > (children ?? []).filter(({ isGone }) => !isGone).length);
}

async function recount(parent: Node, field: "datacenter" | "environment", filter: ReturnType<typeof filterOf>): Promise<void> {
  const ids = (parent.children ?? []).map(({ id }) => id);
  const { counts } = await countServers(field, filter, ids);
  for (const child of parent.children ?? []) child.count = counts.get(child.id)?.count ?? 0;
  if (!parent.next && [...counts.keys()].some((id) => !ids.includes(id))) parent.hasNew = true;
}

function renew(server: Node, object: AnyObject | undefined): void {
  server.isGone = object === undefined;
  if (!object) return;
  server.object = object;
  server.name = String(object.name);
  if (server.children) server.children = belowServer(server, object);
}
