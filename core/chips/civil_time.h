// Calendar dates of the proleptic Gregorian calendar, as day numbers.
#pragma once

#include <cstdint>

namespace cupel::chips {

struct CivilTime {
  int64_t year = 1970;
  int month = 1;    // 1..12
  int day = 1;      // 1..31
  int weekday = 5;  // 1 = Sunday .. 7
  int hour = 0;
  int minute = 0;
  int second = 0;
};

// Days since 1970-01-01. Days past the end of their month run on into the next.
constexpr int64_t days_from_civil(int64_t year, int month, int day) {
  // Years that begin in March put the leap day last; 153 days make five such months.
  const int64_t y = month > 2 ? year : year - 1;
  const int64_t m = month > 2 ? month - 3 : month + 9;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * m + 2) / 5 + day - 1;
  return era * 146'097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
         719'468;
}

// seconds: since 1970-01-01 00:00, may be negative.
constexpr CivilTime civil_from_seconds(int64_t seconds) {
  const int64_t days = (seconds >= 0 ? seconds : seconds - 86'399) / 86'400;
  const int64_t in_day = seconds - days * 86'400;
  CivilTime t;
  // An average year is never wrong by more than one.
  t.year = 1970 + days * 400 / 146'097;
  while (days_from_civil(t.year, 1, 1) > days) --t.year;
  while (days_from_civil(t.year + 1, 1, 1) <= days) ++t.year;
  while (t.month < 12 && days_from_civil(t.year, t.month + 1, 1) <= days) ++t.month;
  t.day = static_cast<int>(days - days_from_civil(t.year, t.month, 1)) + 1;
  t.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7) + 1;  // 1970-01-01 was a Thursday
  t.hour = static_cast<int>(in_day / 3600);
  t.minute = static_cast<int>(in_day / 60 % 60);
  t.second = static_cast<int>(in_day % 60);
  return t;
}

constexpr int64_t seconds_from_civil(const CivilTime& t) {
  return days_from_civil(t.year, t.month, t.day) * 86'400 + t.hour * 3600 + t.minute * 60 +
         t.second;
}

}  // namespace cupel::chips
