/** The partners' order system in a process of its own: takes each webhook. Prints its address. */
import { serve } from "./serve.ts";

serve((response) => response.writeHead(204).end());
