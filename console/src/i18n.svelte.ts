// Texts in the person's language. Each screen has a dictionary of its own, so that it is loaded with the screen.

export type Language = "en" | "zh";
export type Labels = Record<Language, string>;
type Values = Record<string, string | number>;

const STORED = "itam.language";

function preferred(): Language {
  const stored = localStorage.getItem(STORED);
  if (stored === "en" || stored === "zh") return stored;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

class I18n {
  language: Language = $state(preferred());

  /** Use the language of the account, unless another was chosen in this browser. */
  suggest(language: Language | null): void {
    if (language && localStorage.getItem(STORED) === null) this.language = language;
  }

  use(language: Language): void {
    this.language = language;
    localStorage.setItem(STORED, language);
  }
}

export const i18n = new I18n();

/** The text of a description from `GET /api/meta`. */
export function label(labels: Labels): string {
  return labels[i18n.language];
}

/**
 * A function from a key to its text, with `{name}` replaced by the value of that name. Of `{n} server|{n} servers` the
 * first form is that for one.
 * The compiler demands that both languages have the same keys; `tests/console` compares the placeholders.
 */
export function dictionary<Key extends string>(
  en: Readonly<Record<Key, string>>,
  zh: Readonly<Record<NoInfer<Key>, string>>,
): (key: Key, values?: Values) => string {
  return (key, values = {}) => {
    const [one = "", other = one] = { en, zh }[i18n.language][key].split("|");
    const text = String(values["n"]) === "1" ? one : other;
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
  };
}

/** The person's region decides the form of numbers and times where it speaks the language. */
function locale(): string {
  return navigator.languages.find((one) => one.toLowerCase().startsWith(i18n.language)) ?? i18n.language;
}

/** A number with the separators of the person's language. */
export function formatNumber(value: number, options?: Intl.NumberFormatOptions): string {
  return new Intl.NumberFormat(locale(), options).format(value);
}

/** A date-time of the API in the person's language and time zone. */
export function formatTime(value: string, options: Intl.DateTimeFormatOptions = {}): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short", ...options }).format(
    new Date(value),
  );
}

/** A date of the API, which has no time zone. */
export function formatDate(value: string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeZone: "UTC" }).format(new Date(value));
}

const STEPS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
];

/** How long ago or how soon, such as `5 minutes ago`. */
export function formatAge(value: string, now: number = Date.now()): string {
  const seconds = (new Date(value).getTime() - now) / 1000;
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  const [unit, length] = STEPS.find(([, length]) => Math.abs(seconds) >= length) ?? ["second", 1];
  return format.format(Math.trunc(seconds / length), unit);
}
