// The mongo image runs it once, when its volume is empty. The services' user may use their database and no other.
const { MONGO_PASSWORD } = process.env;

db.getSiblingDB("waybill").createUser({
  user: "waybill",
  pwd: MONGO_PASSWORD,
  roles: [{ role: "readWrite", db: "waybill" }],
});
