/** The URLs of the platform and of its sandbox. */
export interface DemoPlaces {
  apiUrl: string;
  sandboxUrl: string;
}

/** An error that ends the demo. */
export class DemoError extends Error {}

/** Client for the pages of the sandbox. */
export function sandboxPages(sandboxUrl: string) {
  return {
    /** Reads a JSON page. @throws DemoError */
    async read<T>(path: string): Promise<T> {
      const response = await fetch(sandboxUrl + path);
      if (!response.ok) throw new DemoError(`the sandbox answered ${response.status} to ${path}`);
      return (await response.json()) as T;
    },
    /** Submits a form. @returns the status, and the heading of the resulting page */
    async submit(url: string, fields: Record<string, string>): Promise<{ status: number; heading: string }> {
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
