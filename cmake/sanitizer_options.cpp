// Linked into every test of a sanitizer build.
// libunicorn leaks a few hundred bytes an engine in its own bookkeeping (uc_close).
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libunicorn\n"; }
