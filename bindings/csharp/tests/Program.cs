// The library on the real model: RASP_TEST_MODEL=MODEL.rasp RASP_TEST_ABI=tests/abi/x86_64-linux-gnu.txt mono Tests.exe

using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;

internal static class Program
{
    internal static readonly string Path = Environment.GetEnvironmentVariable("RASP_TEST_MODEL");
    internal const string Prompt = "The capital of France is";

    private static int Main(string[] names)
    {
        IEnumerable<MethodInfo> tests = new[] { typeof(LayoutTests), typeof(ModelTests), typeof(SessionTests),
            typeof(AnswerTests), typeof(CallbackTests), typeof(ThreadTests) }
            .SelectMany(kind => kind.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(test => names.Length == 0 || names.Contains(test.Name));
        int passed = 0, failed = 0;
        foreach (MethodInfo test in tests)
        {
            try
            {
                test.Invoke(null, null);
                passed++;
            }
            catch (TargetInvocationException exception)
            {
                failed++;
                Console.Error.WriteLine($"{test.DeclaringType.Name}.{test.Name}: {exception.InnerException}");
            }
        }
        Console.WriteLine($"{passed} passed, {failed} failed");
        return passed == 0 || failed > 0 ? 1 : 0;
    }
}
