/** The visible state of a page. */
export interface Readability {
  /** The number of elements with text. */
  texts: number;
  /** Texts with too little contrast to their background (WCAG 2, level AA). */
  faint: string[];
  /** Texts that are cut at the right side of the window. */
  wide: string[];
  /** Whether the page is wider than the window. */
  scrolls: boolean;
  buttonHeight: number;
  isDark: boolean;
}

/** Evaluated in a browser. @returns Readability */
export const READABILITY = `(() => {
  const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = channels(color).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const backgroundOf = (element) => {
    if (!element) return "rgb(255, 255, 255)";
    const { backgroundColor } = getComputedStyle(element);
    return channels(backgroundColor)[3] === 0 ? backgroundOf(element.parentElement) : backgroundColor;
  };
  const texts = [...document.querySelectorAll("h1, p, strong, td, a")].filter(
    (element) =>
      element.checkVisibility() &&
      [...element.childNodes].some(({ nodeType, textContent }) => nodeType === 3 && textContent.trim()),
  );
  const faint = texts.filter((element) => {
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(backgroundOf(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
  });
  const wide = texts.filter(
    (element) => element.getBoundingClientRect().right > innerWidth || element.scrollWidth > element.clientWidth + 1,
  );
  const textOf = ({ textContent }) => textContent;
  return {
    texts: texts.length,
    faint: faint.map(textOf),
    wide: wide.map(textOf),
    scrolls: document.documentElement.scrollWidth > innerWidth,
    buttonHeight: document.querySelector("a.button")?.closest("table").getBoundingClientRect().height,
    isDark: luminance(backgroundOf(document.body)) < 0.1,
  };
})()`;
