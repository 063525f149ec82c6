// How parameters and forms are written: any client of the API needs the same.

/** The query string: an object's members are parameters of their own, and a list is separated by commas. */
export function queryOf(parameters: Record<string, unknown>): string {
  const query = new URLSearchParams();
  const add = (name: string, value: unknown): void => {
    if (Array.isArray(value)) query.append(name, value.join(","));
    else if (value !== null && typeof value === "object") Object.entries(value).forEach(([key, one]) => add(key, one));
    else if (value !== undefined && value !== null) query.append(name, String(value));
  };
  Object.entries(parameters).forEach(([name, value]) => add(name, value));
  return query.toString();
}

/** The body of a form: a File is sent under its name. */
export function formOf(fields: Record<string, unknown>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value instanceof Blob) form.append(name, value);
    else if (value !== undefined) form.append(name, String(value));
  }
  return form;
}
