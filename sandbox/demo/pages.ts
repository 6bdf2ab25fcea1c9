/** Where the platform and its sandbox are. */
export interface DemoPlaces {
  apiUrl: string;
  sandboxUrl: string;
}

/** What the demo cannot go on without. */
export class DemoError extends Error {}

/** The sandbox's pages, used as a person in front of them would. */
export function sandboxPages(sandboxUrl: string) {
  return {
    /** One of its JSON pages. @throws DemoError */
    async read<T>(path: string): Promise<T> {
      const response = await fetch(sandboxUrl + path);
      if (!response.ok) throw new DemoError(`the sandbox answered ${response.status} to ${path}`);
      return (await response.json()) as T;
    },
    /** Presses a button of a page. @returns the status, and the heading of the page that comes then */
    async press(url: string, fields: Record<string, string>): Promise<{ status: number; heading: string }> {
      const response = await fetch(url, {
        method: "POST",
        body: new URLSearchParams(fields),
        redirect: "follow",
      });
      const heading = /<h1>([^<]*)<\/h1>/.exec(await response.text())?.[1] ?? "";
      return { status: response.status, heading };
    },
    async post(path: string, body: object): Promise<{ status: number; text: string }> {
      const response = await fetch(sandboxUrl + path, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      return { status: response.status, text: await response.text() };
    },
  };
}

export type SandboxPages = ReturnType<typeof sandboxPages>;
