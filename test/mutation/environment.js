import Environment from "../support/environment.js";

/** The first failure of a file says that the change is found: its other tests are not run. */
export default class StopsAtFailure extends Environment {
  #failed = false;

  handleTestEvent({ name, test }) {
    if (name === "test_done" && test.errors.length > 0) this.#failed = true;
    if (name === "test_start" && this.#failed) test.mode = "skip";
  }
}
