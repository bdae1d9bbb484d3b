// A table that nobody can write to while this stands: what the program is about to do there waits.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <thread>

#include "tests/e2e/support/installation.h"

namespace tollgate::e2e {

class TableLock {
 public:
  TableLock(const Installation& installation, const std::string& table);  // "audit.record"; of schema keys: in the keys database.
  ~TableLock();
  TableLock(const TableLock&) = delete;
  TableLock& operator=(const TableLock&) = delete;

  // That a statement of the program waits for it; false if none does within seconds.
  bool Bites();

 private:
  std::unique_ptr<base::Session> looker_;
  std::promise<void> release_;
  std::jthread holder_;
};

}  // namespace tollgate::e2e
