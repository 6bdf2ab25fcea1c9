const EARTH_RADIUS_METERS = 6_371_000;

/** The SQL of the distance between two places on the sphere, in whole meters. Each place: SQL of latitude and longitude. */
export function distanceSql(
  [latitude, longitude]: readonly [string, string],
  [otherLatitude, otherLongitude]: readonly [string, string],
): string {
  return `round(2 * ${EARTH_RADIUS_METERS} * asin(sqrt(least(1,
    power(sin(radians(${latitude} - ${otherLatitude}) / 2), 2)
    + cos(radians(${otherLatitude})) * cos(radians(${latitude}))
    * power(sin(radians(${longitude} - ${otherLongitude}) / 2), 2)))))::integer`;
}

/**
 * A longitude as the map shows it, once where it is and once a whole turn further: a place across the antimeridian is near
 * the second one.
 */
export function longitudesOf(longitude: number): [number, number] {
  return [longitude, longitude >= 0 ? longitude - 360 : longitude + 360];
}
