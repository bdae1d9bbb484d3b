// The rows that requests leave in Postgres, read back as they are stored, and inserted again with new ids into databases with the same
// tables: what writing them costs when nothing else is done. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/bare_insert.h"

namespace tollgate::bench {

struct Databases {
  std::string main_url;
  std::string keys_url;
};

class RequestRows {
 public:
  // Reads the rows of the last `requests` requests that ended by themselves in `from`; they will be written to `to`.
  RequestRows(const Databases& from, const Databases& to, int requests);
  ~RequestRows();

  double rows_per_request() const;
  // Commits after commit for so long, each with the rows of `together` requests in one statement, and their keys in parallel in the other
  // database.
  struct Inserted {
    double per_s;
    std::int64_t requests;
  };
  Inserted Insert(double seconds, int together);
  // At a steady rate, each commit with one REQUEST record of whatever is due by then: latencies from when it was due, sorted, in ms.
  std::vector<double> CommitAtRate(double seconds, double rate_per_s);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tollgate::bench
