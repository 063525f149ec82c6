// The page of a list, as its address has it: a number to be read and sent, and the cursor by which it is asked for.

/** What other conditions or another order begin with. */
export const FIRST_PAGE = { page: null, cursor: null };

export function pageIn(query: URLSearchParams): number {
  return Math.max(Math.trunc(Number(query.get("page"))) || 1, 1);
}

/** From page to page by cursor, which costs the same however far behind; a page that only its number names by that. */
export function placeIn(query: URLSearchParams): { cursor: string } | { page: number } {
  const page = pageIn(query);
  const cursor = query.get("cursor") ?? (page === 1 ? "" : undefined);
  return cursor === undefined ? { page } : { cursor };
}
