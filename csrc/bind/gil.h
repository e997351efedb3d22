// gil.h (bind): the interpreter's lock, let go while a kernel runs and taken back afterwards.
//
// A kernel in a daemon thread may outlive the interpreter. Python before 3.14 ends a thread that then asks for the lock by unwinding its
// stack, which ends the process where the stack is that of a kernel: its threads are running, and destructors may not be unwound. So such
// a thread waits for the process to end, as it does from Python 3.14 on.
#pragma once
#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

namespace bindings {

class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { take(); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

  // With the lock, for a moment: has a signal come (Ctrl-C)? The Python error is set then.
  bool signalled() {
    take();
    const bool came = PyErr_CheckSignals() != 0;
    state_ = PyEval_SaveThread();
    return came;
  }

 private:
  void take() noexcept {
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      for (;;) pause();
    }
  }
  PyThreadState* state_;
};

}  // namespace bindings
